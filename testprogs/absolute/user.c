/* Says what the addresses are: the numbers themselves, or a variable's place. */
extern char number, zero;
int user_calls(void);

static char *volatile place = &number;
static char *volatile nowhere = &zero;

int user_calls(void)
{
    return (place == (char *)0x1234) + 2 * (&number == (char *)0x1234) + 4 * (nowhere == (char *)0);
}
