/* A plugin that nobody calls. */
int alone(void);

int alone(void)
{
    return 1;
}
