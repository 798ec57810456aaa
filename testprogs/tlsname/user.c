/* Uses a TLS variable by the dynamic model of its CPU. */
extern __thread int thing;
int user_uses(void);

int user_uses(void)
{
    return thing;
}
