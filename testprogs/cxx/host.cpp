// A C++ plugin host: virtual calls into plugins, an exception that crosses from one to the host.
#include <cstdio>
#include <dlfcn.h>

#include "codec.hpp"

static media::Codec *load(const char *library)
{
    void *handle = dlopen(library, RTLD_LAZY);
    auto make = handle == nullptr
        ? nullptr : reinterpret_cast<media::Codec *(*)()>(dlsym(handle, "make_codec"));
    if (make == nullptr) {
        std::fprintf(stderr, "host: %s\n", dlerror());
        return nullptr;
    }
    return make();
}

static void use(media::Codec &codec, const char *input)
{
    try {
        int length = codec.decode(input);
        std::printf("%s %d\n", codec.name().c_str(), length);
    } catch (const media::DecodeError &error) {
        std::printf("%s failed: %s\n", codec.name().c_str(), error.what()); /* break: caught */
    }
}

int main()
{
    std::setvbuf(stdout, nullptr, _IOLBF, 0);
    media::Codec *plain = load("libplain.so");
    media::Codec *strict = load("libstrict.so");
    if (plain == nullptr || strict == nullptr)
        return 2;
    std::printf("codecs %d\n", media::Registry<media::Codec>::count()); /* break: loaded */
    use(*plain, "abc");
    use(*strict, "abc");
    use(*strict, "");
    delete plain;
    delete strict;
    return 0;
}
