/* Calls each name; the sum says whose they are. */
int section(void), file(void), unknown(void), local(void), zero(void), none(void);
int user_calls(void);

int user_calls(void)
{
    return section() + 10 * file() + 100 * unknown() + 1000 * local() + 10000 * zero()
        + 100000 * none();
}
