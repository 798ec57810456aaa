// A thread_local with a destructor, which keeps its library until the thread ends.
struct Local
{
    int value = 1;
    ~Local() { value = 0; }
};

static thread_local Local local;

extern "C" void use()
{
    local.value++;
}
