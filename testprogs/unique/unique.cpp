// A variable that is one for the whole namespace (STB_GNU_UNIQUE), and one that is each library's.
struct Registry {
    static inline int count = 0;
};

extern "C" int CALLER()
{
    return ++Registry::count;
}
