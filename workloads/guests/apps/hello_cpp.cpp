/*
 * Goal: C++ with iostream, containers and exceptions across functions, beside MPI.
 * Sizes: any number of ranks.
 * Expected: "ok hello_cpp".
 */
#include <algorithm>
#include <iostream>
#include <map>
#include <memory>
#include <mpi.h>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

int live = 0;

struct Counted {
    Counted() { ++live; }
    ~Counted() { --live; }
};

void deeper(int depth)
{
    Counted guard;
    if (depth == 0) throw std::out_of_range("the bottom");
    deeper(depth - 1);
}

std::string caught()
{
    try {
        deeper(20);
    } catch (const std::logic_error &error) {
        return error.what();
    }
    return "nothing";
}

std::string standard_library_throws()
{
    std::vector<int> numbers(3);
    try {
        return std::to_string(numbers.at(7));
    } catch (const std::out_of_range &) {
        return "range";
    }
}

}

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    int rank = 0, size = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    bool good = caught() == "the bottom" && live == 0 && standard_library_throws() == "range";

    auto values = std::make_unique<std::vector<double>>(100);
    for (std::size_t i = 0; i < values->size(); ++i) (*values)[i] = static_cast<double>((i * 37 + rank) % 101);
    std::sort(values->begin(), values->end());
    double largest = values->back(), most = 0;
    MPI_Allreduce(&largest, &most, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    good = good && most >= largest && most <= 100;

    std::map<std::string, int> words;
    std::istringstream text("one two two three three three");
    for (std::string word; text >> word;) ++words[word];
    good = good && words["three"] == 3 && words.size() == 3;

    int mine = good ? 1 : 0, all = 0;
    MPI_Reduce(&mine, &all, 1, MPI_INT, MPI_MIN, 0, MPI_COMM_WORLD);
    if (rank == 0) std::cout << (all ? "ok hello_cpp" : "failed hello_cpp") << std::endl;
    MPI_Finalize();
    return good ? 0 : 1;
}
