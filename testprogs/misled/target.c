int target(int *value);
int target(int *value)
{
    return value == 0;
}
