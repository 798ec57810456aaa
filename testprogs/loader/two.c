/* libtwo.so needs libone.so. */
int one(void);
int two(void);

int two(void)
{
    return one() + 1;
}
