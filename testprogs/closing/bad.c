/* Cannot be loaded: nobody defines what it calls. */
int nowhere(void);
int bad(void);

int bad(void)
{
    return nowhere();
}
