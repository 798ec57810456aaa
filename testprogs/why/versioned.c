/* libversioned.so, in an old and a newer version. */
int versioned(void);
int newer(void);

int versioned(void)
{
    return 1;
}

#ifdef NEWER
int newer(void)
{
    return 2;
}
#endif
