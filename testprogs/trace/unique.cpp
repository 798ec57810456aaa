// A GNU_UNIQUE symbol: one for the whole process, so its library cannot go.
template <typename T> struct Holder
{
    static int value;
};
template <typename T> int Holder<T>::value = 3;

extern "C" int use()
{
    return Holder<int>::value++;
}
