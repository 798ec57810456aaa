/* Many relative relocations in a row, and a call that leads elsewhere. */
int twin(void);
int relr_calls(void);

static int values[4];
int *table[64] = {[0 ... 63] = values};

int twin(void)
{
    return 2;
}

int relr_calls(void)
{
    return twin() + *table[63];
}
