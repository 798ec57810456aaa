/* Local-dynamic: static variables, one module id for both. */
static __thread int first = 400;
static __thread int second;
int touch_ld(void);

int touch_ld(void)
{
    second++;
    return first += second;
}
