/* Opened and closed. */
int present(void);

int present(void)
{
    return 1;
}
