// A constructor that throws: the exception leaves dlopen.
struct Thrower
{
    Thrower() { throw 5; }
};

static Thrower thrower;
