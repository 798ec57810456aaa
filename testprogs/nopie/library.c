/* Its own references to library_counter and library_bump lead into the program. */
int library_counter = 41;
int library_bump(void);
int library_sees(int (*function)(void));

int library_bump(void)
{
    return ++library_counter;
}

int library_sees(int (*function)(void))
{
    return function == library_bump;
}
