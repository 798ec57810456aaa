// A codec that throws when there is nothing to decode.
#include "codec.hpp"

namespace media {

class Strict : public Codec {
public:
    Strict() { Registry<Codec>::count()++; }
    std::string name() const override { return "strict"; }
    int decode(const std::string &input) override
    {
        if (input.empty())
            throw DecodeError("nothing to decode"); /* break: throw */
        return static_cast<int>(input.size()) * 2;
    }
};

} // namespace media

media::Codec *make_codec()
{
    return new media::Strict;
}
