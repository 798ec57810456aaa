/* A library with one function, under the name that the row gives. */
int NAME(void);

int NAME(void)
{
    return 1;
}
