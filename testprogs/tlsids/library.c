/* A block of SIZE bytes that is allocated when a thread first calls touch(). */
static __thread char block[SIZE] = "x";
char *touch(void);

char *touch(void)
{
    block[0]++;
    return block;
}
