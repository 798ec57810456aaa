/* One of two copies of a runtime: SELF makes something that OTHER takes for its own. */
int inflateInit2_(void *stream, int bits, const char *version, int size);
int SELF(int **made);
#ifdef OTHER
int OTHER(int **made);
#endif

int inflateInit2_(void *stream, int bits, const char *version, int size)
{
    return stream != 0 && version != 0 ? bits : size;
}

int SELF(int **made)
{
#ifdef OTHER
    int *nothing = 0;
    return OTHER(made ? made : &nothing); /* break: call */
#else
    return **made;
#endif
}
