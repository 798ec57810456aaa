/* A library with one function: the same thing in several files and under several names. */
int NAME(void);

int NAME(void)
{
    return 1;
}
