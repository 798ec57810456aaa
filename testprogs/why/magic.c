/* A PostgreSQL extension's magic block, as fmgr.h's PG_MODULE_MAGIC makes it, for release RELEASE. */
struct magic {
    int len;
    int version;
    int funcmaxargs;
    int indexmaxkeys;
    int namedatalen;
    int float8byval;
    char abi_extra[32];
};
const struct magic *Pg_magic_func(void);

const struct magic *Pg_magic_func(void)
{
    static const struct magic data = { sizeof(struct magic), RELEASE, 100, 32, 64, 1, "PostgreSQL" };
    return &data;
}
