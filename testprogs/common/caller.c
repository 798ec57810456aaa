/* A library's function CALLER, which calls NAME through a JUMP_SLOT; unless CALL_ONLY is defined
   there is a pointer to NAME as well, bound when the library is loaded. */
#ifndef ATTRIBUTE
#define ATTRIBUTE unused
#endif

int NAME(void) __attribute__((ATTRIBUTE));
int CALLER(void);

#ifndef CALL_ONLY
static int (*volatile pointer)(void) __attribute__((used)) = NAME;
#endif

int CALLER(void)
{
    return NAME();
}
