/* libuser.so: meets the exported IFUNCs through a JUMP_SLOT (exported_called), a GLOB_DAT
   (an address taken in code) and absolute words (addresses in data). */
int exported_forty(void);
int exported_two(void);
int exported_called(void);
int by_call(void);
int by_address(void);
int by_data(void);

int (*const table[])(void) = { exported_forty, exported_two };

int by_call(void)
{
    return exported_called() + 2;
}

int by_address(void)
{
    int (*volatile pointer)(void) = exported_two;
    return pointer();
}

int by_data(void)
{
    return table[0]();
}
