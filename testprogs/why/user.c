/* A library that calls NEEDS, which another one defines. */
int NEEDS(void);
int NAME(void);

int NAME(void)
{
    int sum = 0;

    for (int i = 0; i < 3; i++)
        sum += NEEDS();
    return sum;
}
