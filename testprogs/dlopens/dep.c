/* The library that liblazy.so and libnow.so need. */
int dep_value(void)
{
    return 40;
}

int dep_other(void)
{
    return 50;
}
