// A crash in a function whose C++ name has some hundred characters.
#include <map>
#include <string>
#include <vector>

namespace {

template <typename Key, typename Value> struct Index {
    static int broken_lookup(const std::map<Key, std::vector<Value>> *where)
    {
        const volatile int *number = reinterpret_cast<const volatile int *>(where);
        return *number; /* break: crash */
    }
};

} // namespace

template <typename Table> int look_up_in_table(const Table *table);

template <typename Table> int look_up_in_table(const Table *table)
{
    return Index<std::string, std::map<std::string, std::vector<std::string>>>::broken_lookup(table);
}

extern "C" int plugin_run()
{
    return look_up_in_table<std::map<std::string, std::vector<std::map<std::string, std::vector<std::string>>>>>(nullptr);
}
