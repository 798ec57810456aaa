/* Several plugins define twin(); OWN tells them apart, CALLER names the function that calls it. */
int twin(void);
int CALLER(void);

int twin(void)
{
    return OWN;
}

int CALLER(void)
{
    return twin();
}
