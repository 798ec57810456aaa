/* Bound to what another library defines, with or without needing it. */
int leaf(void);
int user(void);

int user(void)
{
    return leaf();
}
