// What every library that includes a C++ header defines again: an inline function, a class with its
// vtable and type description, a variable that is one for the namespace.
struct Shape {
    virtual ~Shape() = default;
    virtual int corners() const { return 3; }
};

template <typename T> struct Counter {
    static inline int count = 0;
};

inline int area(const Shape &shape)
{
    return shape.corners() * 10;
}

extern "C" int CALLER()
{
    Shape shape;
    int (*volatile function)(const Shape &) = area;
    return function(shape) + ++Counter<int>::count;
}
