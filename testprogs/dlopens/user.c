/* liblazy.so and libnow.so: used() is called by the host and unused() is not. */
int dep_value(void);
int dep_other(void);
int used(void);
int unused(void);

int used(void)
{
    return dep_value() + 2;
}

int unused(void)
{
    return dep_other() + 2;
}
