/* libversioned.so: two versions as it was linked with, one as it is found at run time. */
int older(void);

int older(void)
{
    return 1;
}

#ifdef NEWER
int newer(void);

int newer(void)
{
    return 2;
}
#endif
