/* libundefined.so cannot be opened with RTLD_NOW: nothing defines the function that it calls. */
int nobody_defines_this(void);
int call_it(void);

int call_it(void)
{
    return nobody_defines_this();
}
