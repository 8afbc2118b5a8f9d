"""What the source of modules says, read as syntax trees and never run: names, what they stand for, what statements change."""
