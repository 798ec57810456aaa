/* libleft.so and libright.so: each calls the other, neither needs it. */
int OWN(void);
int OTHER(void);
int CALLER(void);

int OWN(void)
{
    return 1;
}

int CALLER(void)
{
    return OTHER();
}
