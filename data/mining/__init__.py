"""Training pairs out of source trees and their histories."""
