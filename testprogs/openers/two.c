/* The second opener of libshared.so: its twin comes too late, its only_two is found. */
int twin(void);
int only_two(void);

int twin(void)
{
    return 2;
}

int only_two(void)
{
    return 22;
}
