/* Opened by one of four threads. */
int present(void);

int present(void)
{
    return 1;
}
