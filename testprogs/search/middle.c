/* libmiddle.so (no search path of its own) and librunpath.so (a RUNPATH), in one source. */
int leaf(void);
int middle(void);

int middle(void)
{
    return leaf() + 1;
}
