/*
 * Goal: exceptions cross functions, C frames and the compiled part of libc++, run destructors, and are
 *       found by type; iostream, fstream, strings and containers work.
 * Sizes: one rank, no MPI. With an argument the last exception is not caught.
 * Expected: "ok exceptions", exit status 0.
 */
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <new>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

static int failures = 0;
static int destroyed = 0;

struct Counted {
    ~Counted() { destroyed++; }
};

struct Own : std::exception {
    const char *what() const noexcept override { return "own"; }
};

// Calls `action` and checks that it throws an `Expected`.
template <typename Expected> static void throws(const char *name, const std::function<void()> &action) {
    try {
        action();
    } catch (const Expected &) {
        return;
    } catch (...) {
        std::cout << name << ": another exception" << std::endl;
        failures++;
        return;
    }
    std::cout << name << ": no exception" << std::endl;
    failures++;
}

static void deep(int depth) {
    Counted counted;
    if (depth == 0) throw Own();
    deep(depth - 1);
}

static int throwing_comparison(const void *, const void *) { throw 42; }

static void *volatile sink;
static volatile std::size_t huge = 0x7fff0000;

static void library() {
    throws<Own>("deep", [] { deep(9); });
    if (destroyed != 10) failures++;
    throws<int>("through C", [] {
        int numbers[] = {3, 1, 2};
        std::qsort(numbers, 3, sizeof(int), throwing_comparison);
    });
    throws<std::out_of_range>("vector", [] { (void)std::vector<int>(3).at(3); });
    throws<std::out_of_range>("string", [] { (void)std::string("a").at(7); });
    throws<std::out_of_range>("map", [] { (void)std::map<int, int>().at(1); });
    throws<std::invalid_argument>("stoi", [] { (void)std::stoi("x"); });
    throws<std::bad_alloc>("new", [] {
        for (int i = 0; i < 3; i++) sink = ::operator new(huge);
    });
    throws<std::bad_function_call>("function", [] { std::function<void()>()(); });
    throws<std::ios_base::failure>("stream", [] {
        std::ifstream file;
        file.exceptions(std::ios::failbit);
        file.open("there/is/none");
    });
    throws<std::filesystem::filesystem_error>("filesystem", [] {
        (void)std::filesystem::file_size("there/is/none");
    });
}

static void streams() {
    std::ostringstream text;
    text << "pi " << 3.25 << ' ' << std::hex << 255;
    if (text.str() != "pi 3.25 ff") failures++;
    {
        std::ofstream out("exceptions.tmp");
        out << "word " << 42 << '\n';
    }
    std::string word;
    int number = 0;
    std::ifstream("exceptions.tmp") >> word >> number;
    if (word != "word" || number != 42) failures++;
    std::filesystem::remove("exceptions.tmp");
}

int main(int argc, char **) {
    library();
    streams();
    if (!failures) std::cout << "ok exceptions" << std::endl;
    if (argc > 1) throw std::runtime_error("nobody catches this");
    return failures != 0;
}
