// The interface between the C++ host and its plugins.
#pragma once

#include <stdexcept>
#include <string>

namespace media {

struct DecodeError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

class Codec {
public:
    virtual ~Codec() = default;
    virtual std::string name() const = 0;
    virtual int decode(const std::string &input) = 0;
};

// One copy for the whole process (STB_GNU_UNIQUE), however many plugins include this.
template <typename T> struct Registry {
    static int &count()
    {
        static int value = 0;
        return value;
    }
};

} // namespace media

extern "C" media::Codec *make_codec();
