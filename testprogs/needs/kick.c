/* libkick.so: its constructor has the calls of both plugins bound. */
int left_calls(void);
int right_calls(void);

__attribute__((constructor)) static void kick(void)
{
    left_calls();
    right_calls();
}
