/* Thread-local storage at an offset from the thread pointer: it must be in static TLS. Without an
   initial value, so that the program may give it any size. */
__thread char area[8];
char *probe(void);

char *probe(void)
{
    return area;
}
