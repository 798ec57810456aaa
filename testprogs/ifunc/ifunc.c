/* libifunc.so: three exported IFUNCs, and two local ones that share one resolver: each of the local
   ones has an IRELATIVE slot, and both slots name the same resolver. */
typedef int (*function)(void);

static int forty(void)
{
    return 40;
}

static int two(void)
{
    return 2;
}

static function resolve_forty(void)
{
    return forty;
}

static function resolve_two(void)
{
    return two;
}

int exported_forty(void) __attribute__((ifunc("resolve_forty")));
int exported_two(void) __attribute__((ifunc("resolve_two")));
int exported_called(void) __attribute__((ifunc("resolve_forty")));
static int local_one(void) __attribute__((ifunc("resolve_two")));
static int local_other(void) __attribute__((ifunc("resolve_two")));
int sum_of_locals(void);

int sum_of_locals(void)
{
    return local_one() + local_other();
}
