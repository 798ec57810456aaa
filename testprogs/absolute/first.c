/* `number` and `zero` are absolute symbols, made by ld's --defsym. */
int first_has(void);

int first_has(void)
{
    return 1;
}
