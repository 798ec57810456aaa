/* libleaf.so: what libmiddle.so and librunpath.so need; found by the search rule of whoever needs it. */
int leaf(void);

int leaf(void)
{
    return 1;
}
