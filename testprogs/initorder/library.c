/* Prints when it begins and ends, each time by two functions. SELF is its name, NEEDS a function elsewhere. */
#include "say.h"

#define TEXT(name) #name
#define NAME(name) TEXT(name)

#ifdef NEEDS
extern int NEEDS(void);
#define CALL NEEDS()
#else
#define CALL 0
#endif

int SELF(void) { return 1 + CALL; }

__attribute__((constructor(200))) static void begin_early(void)
{
    say(NAME(SELF) " begins early"); /* break: early */
}

__attribute__((constructor)) static void begin(void)
{
    say(NAME(SELF) " begins"); /* break: constructor */
}

__attribute__((destructor(200))) static void end_late(void)
{
    say(NAME(SELF) " ends late"); /* break: late */
}

__attribute__((destructor)) static void end(void)
{
    say(NAME(SELF) " ends"); /* break: destructor */
}
