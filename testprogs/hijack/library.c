/* libtarget.so, which comes first, libother.so, which comes later in the same scope, and
   libstranger.so, which is in nobody's scope but its own: VALUE tells them apart. */
int shared_number = VALUE;
int another_number = VALUE + 10;
int twin(void);
int unrelated(void);
int other_function(void);

int twin(void)
{
    return VALUE;
}

int unrelated(void)
{
    return VALUE + 30;
}

#ifdef LOCAL
static int local_function(void)
{
    return VALUE + 20;
}

int other_function(void)
{
    return local_function();
}
#endif
