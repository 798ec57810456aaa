/* libuser.so: needs libalias.so, and gets a file whose soname is libalias.so.3. */
int alias(void);
int user(void);

int user(void)
{
    return alias();
}
