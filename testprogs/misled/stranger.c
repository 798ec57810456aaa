int stranger(int *value);
int stranger(int *value)
{
    return *value;
}
