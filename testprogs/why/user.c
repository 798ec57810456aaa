/* A library that calls NEEDS, which another one defines. */
int NEEDS(void);
int NAME(void);

int NAME(void)
{
    return NEEDS() + 1;
}
