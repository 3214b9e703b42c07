#include <filesystem>
#include <iostream>
#include <stdexcept>
#include <thread>
int main() {
    std::thread other([] {
        try {
            throw std::runtime_error("thrown");
        } catch (const std::exception &error) {
            std::cout << "caught " << error.what() << " in " << std::filesystem::current_path().filename() << std::endl;
        }
    });
    other.join();
}
