/* libring1.so, libring2.so, libring3.so: each needs the next one, the last the first. */
int OWN(void);
int NEXT(void);
int CALLER(void);

int OWN(void)
{
    return 1;
}

int CALLER(void)
{
    return NEXT();
}
